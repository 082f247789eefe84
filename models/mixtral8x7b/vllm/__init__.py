"""The model as Tenstorrent's vLLM plugin (vllm-tt-plugin) calls one. vLLM schedules and speaks HTTP; imports no vLLM.

sampling    what the plugin asks of a row, as this project has it
rows        what the chips hold of the 32 rows between the plugin's calls
adapter     the model that the plugin loads, but for decode
contracts   the two ways in which the plugin has told a decode call what to take

The plugin finds it through serving/vllm_bundle (docs/vllm.md).
"""
