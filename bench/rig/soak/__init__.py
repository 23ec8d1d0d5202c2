"""The benchmark `bench/soak`: half an hour of engines that fail in every way, while the gateway's memory is watched."""
