"""What this project's logging.yaml leaves out of the log of Meltano, of which every command loads this module."""

import logging

from typing_extensions import override

CHATTER = ("Inserting with SQL", "completed processing", "Skipping parse of env var", " state backend")
"""Of target-postgres a line for each batch, and others that follow the last words of the tap."""


class WithoutChatter(logging.Filter):
    """Leaves out what loaders and Meltano say of their work, and nothing of what goes wrong."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        said = str(record.msg)  # a dictionary of Meltano's, with an `event`
        return not any(words in said for words in CHATTER)
