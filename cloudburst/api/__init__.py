"""The Python API: plan, preview, run and resume jobs; find and remove what dead runs have left.

`import cloudburst` offers all of it. Nothing here prints. Nothing is imported here: an audit does
not wait for the libraries that read pictures and sounds.
"""
