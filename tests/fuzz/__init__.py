"""Model folders, changed at random: each is refused in one sentence, or gives the numbers that its files say."""
