"""Recipes for whole models; see README.md here."""
