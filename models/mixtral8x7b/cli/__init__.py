"""`./mixtral`: one file per command. Nothing here imports torch or ttnn before a command runs.

__main__                                       all commands together
app  options                                   what typer is told; what several commands can be asked for
plan  download  repack  warm_up                what comes before; scripts/ has the first three under their known names
generate  chat  serve  bench                   what runs a model
"""
