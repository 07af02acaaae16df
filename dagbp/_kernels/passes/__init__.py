"""Passes: loops over rows, tiles and steps, from the inside out.

`net` takes tiles through all rows, forward and backward; `tile` loads samples and computes losses;
`tile_group` joins both for a group; `entry_points` loop over a batch or over training steps.
`single_sample` computes one sample without tiles. The others serve these: `readers` copy
samples, `barrier` synchronises threads, `timing` and `peak` measure.
"""
