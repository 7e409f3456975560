"""Worlds whose physics is MuJoCo Warp's: thousands on one CUDA device, or, to be tested, on Warp's CPU device.

Nothing here imports Warp until worlds are asked for: it is the extra `[gpu]`.
"""
