"""The tested package behind the book *Variational Autoencoders, Verified*.

Importing it seeds, downloads and restyles nothing; import the module of your subject, for example
``from vaebook.vae import mlp_vae``.
"""

__version__ = "0.1.0"
