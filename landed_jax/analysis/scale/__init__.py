"""σ, γ and what they magnify; how the stream grows."""
