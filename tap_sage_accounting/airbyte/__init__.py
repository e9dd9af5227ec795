"""The tap as an Airbyte source: the same extraction, in Airbyte's protocol.

Nothing is extracted here. The tap runs in this process, and what it writes is translated on its way out.
"""
