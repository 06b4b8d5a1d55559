"""One file a transform: what the points of an attack go through where its gradients are taken."""
