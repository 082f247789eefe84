#!/bin/sh
# Stands in for Tenstorrent's RISC-V compiler: writes empty kernels, which a mocked chip never runs.
# ttnn starts it as ROOT/runtime/sfpi/compiler/bin/riscv-tt-elf-g++, thousands of times: sh starts faster than Python.
# It refuses to work when the chips are not mocked, because an empty kernel on a real chip hangs.
set -eu
if [ -z "${TT_METAL_MOCK_CLUSTER_DESC_PATH:-}" ]; then
    echo "this stand-in compiler writes empty kernels, so it serves mocked chips only: install the SFPI compiler" >&2
    exit 1
fi
if [ "${1:-}" = --version ]; then
    echo "riscv-tt-elf-g++ (stand-in, empty kernels) 0"
    exit
fi
output='' is_object='' dependencies=''
while [ $# -gt 0 ]; do
    case $1 in
        -o) output=$2 && shift ;;
        -c | c++-header) is_object=yes ;;
        -MMD) dependencies=yes ;;
    esac
    shift
done
root=${0%/*}/../../../..
if [ "$is_object" ]; then # or a precompiled header; neither is read
    echo object >"$output"
    if [ "$dependencies" ]; then echo "$output:" >"${output%.*}.d"; fi
    exit
fi
program=$root/empty_kernel.elf
case $PWD/$output in
    *firmware*) # ttnn reads more of it than of a kernel; the wheel has it built. Only Wormhole has a core called erisc
        name=${output##*/} && name=${name%%.*}
        for erisc in "$root"/tt_metal/pre-compiled/*/erisc; do
            built=${erisc%/*}/$name/$name.elf
            if [ -f "$built" ]; then program=$built && break; fi
        done
        ;;
esac
cp "$program" "$output.$$" # under its name it is whole, whoever is killed when
mv -f "$output.$$" "$output"
