"""The config of runs and studies: typed dataclasses, with the legal values stated beside each field."""
