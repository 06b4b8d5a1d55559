"""Small classifiers of Fashion-MNIST, each trained with a defense of the literature, as files to audit.

``python -m tests.zoo FOLDER_OF_FASHION_MNIST --cache DIR`` trains those that the cache lacks.
"""
