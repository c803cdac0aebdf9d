"""The types of task: how each reads labels, scores a model and writes its predictions."""
