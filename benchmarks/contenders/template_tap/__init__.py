"""A tap as the Singer SDK's own template teaches it, for comparison; schemas are put beside it by the benchmark."""
