"""The original's module name: code written for it runs without any change."""

from cloudburst.compat import *  # noqa: F403 - nothing but this
