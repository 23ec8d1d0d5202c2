"""The rig: starts the contenders, loads them, and records the results."""
