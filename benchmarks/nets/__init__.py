"""Small classifiers of many kinds, on which ladders of attacks are chosen, and others on which they are reported.

``python -m benchmarks.nets FOLDER_OF_FASHION_MNIST --cache DIR`` makes those that the cache lacks.
"""
