"""Preparing a machine: which torch build it needs, the virtual environment, the pinned packages.

Standard library only, because it runs before any package is installed.
"""
