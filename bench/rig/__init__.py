"""The rig: what starts the contenders, loads them, and writes down what they did."""
