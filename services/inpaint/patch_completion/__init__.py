"""Fills large holes with patches of the known image, coarse to fine.

Space-time completion of video (Wexler et al., PAMI 2007), for one image, with PatchMatch (Barnes et al., SIGGRAPH 2009)
as search and the texture features of Newson et al. (SIAM Journal on Imaging Sciences, 2014).
"""
