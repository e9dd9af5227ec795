"""One read of one list of one business."""
