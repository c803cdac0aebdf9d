"""What runs and studies are made of, as typed dataclasses with a rule beside each field."""
