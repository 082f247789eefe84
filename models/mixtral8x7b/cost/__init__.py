"""What a recorded program would cost on the chips: modelled, never measured. docs/cost_model.md is about it.

chip  specs                                    a chip's peaks; a recorded tensor's text, read back
operation                                      what one device operation takes, and a step of them
matmul  sdpa  collectives  elementwise  host   the laws, each with the rows of published measurements it rests on
calls                                          recorded calls to operations
recording  prediction                          this project's programs, and what they take in all, as ranges
tt_transformers                                Tenstorrent's own models, as operations
study                                          what people read
"""
