"""What reads the stream: a logit, a neuron, a head or a vector, as one linear reading at one norm."""
