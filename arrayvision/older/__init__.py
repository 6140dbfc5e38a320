"""Names that public projects import from mmcv and that nothing here needs: a module for each of mmcv's packages.

`arrayvision.openmmlab` serves them beside the names of this package's own modules.
"""
