# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for umbra: all knowledge is in `umbra __complete`.

function __umbra_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -q current[1]; or set current ''
    for line in ($words[1] __complete $words[2..] "$current" 2>/dev/null)
        switch $line
            case ':path'
                __fish_complete_path $current
            case ':dir'
                __fish_complete_directories $current ''
            case '*'
                echo $line
        end
    end
end
complete -c umbra -f -k -a '(__umbra_complete)'
