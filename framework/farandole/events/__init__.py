"""The words that travel: facts, commands, and the envelope around them."""
