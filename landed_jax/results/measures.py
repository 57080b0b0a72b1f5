"""What is asked of a token, and of which components: names of axes that the command line's help imports too."""

MEASURES = ("logit", "centred logit", "logit difference", "log-probability")
"""What is asked of a token, along every axis ``measure``."""
COMPONENTS = ("heads", "neurons", "MLPs")
"""Kinds of components along every axis ``component``: each head, each neuron, each layer's MLP as a whole."""
