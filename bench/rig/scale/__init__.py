"""The benchmark `bench/scale`: what the control side costs with 100, 1,000 and 10,000 models."""
