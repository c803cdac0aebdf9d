"""Starts workers on the engines of clusters, and knows what such workers can reach."""
