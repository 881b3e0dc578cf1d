"""A small labelled dataset made by synthesis, in the Kaggle layout, for trying the commands without recordings."""

from featurize.demo.dataset import plan_demo, write_demo

__all__ = ["plan_demo", "write_demo"]
