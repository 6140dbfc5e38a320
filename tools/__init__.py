"""What helps to work on the package: `python -m tools.new_operator NAME`, `python -m tools.lists`."""
