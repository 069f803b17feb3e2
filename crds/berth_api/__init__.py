"""The API of Berth: a model per kind, and the CustomResourceDefinitions made from them."""
