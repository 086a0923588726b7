# shellcheck shell=bash
# What a command line asks of Pulumi, read as Pulumi's own reader (pflag) reads it: what is misread here is not prepared.

# True for an option that has a value: in its own word, or else in the next one.
has_value() {
    case $1 in
    -f) [ "$ASKED_VERB" = import ] ;;
    -[Ccmopstvx] | --color | --config | --config-file | --cwd | --exclude | --file | --from | --generate-resources | \
        --import-file | --import-pending-creates | --memprofilerate | --message | --otel-traces | --out | --override-env | \
        --parallel | --parent | --plan | --policy-pack | --policy-pack-config | --profiling | --properties | --provider | \
        --replace | --save-plan | --secrets-provider | --stack | --target | --target-replace | --tracing | --verbose) ;;
    *) return 1 ;;
    esac
}

# read_command_line COMMAND WORD…: sets ASKED_VERB, the first word that is no option (up, preview, config, …), ASKED_STACK, the
# last part of the name that is given (without one, of PULUMI_STACK), and ASKED_OPTIONS, their names between spaces.
read_command_line() {
    ASKED_VERB='' ASKED_STACK=${PULUMI_STACK-} ASKED_OPTIONS=' '
    local option letters
    while shift && [ $# != 0 ]; do
        case $1 in
        --) break ;;
        --*=*) note_option "${1%%=*}" "${1#*=}" ;;
        --*)
            note_option "$1" "${2-}"
            if has_value "$1"; then shift; fi
            ;;
        -?*) # several may stand in one word: -ys stage
            letters=${1#-}
            while [[ $letters == [!=]* ]]; do
                option=-${letters:0:1} letters=${letters:1}
                if ! has_value "$option"; then
                    note_option "$option"
                elif [ -n "$letters" ]; then
                    note_option "$option" "${letters#=}"
                    break
                else
                    note_option "$option" "${2-}"
                    shift
                fi
            done
            ;;
        *) ASKED_VERB=${ASKED_VERB:-$1} ;;
        esac
    done
    ASKED_STACK=${ASKED_STACK##*/}
    case $ASKED_VERB in
    update) ASKED_VERB=up ;;
    pre) ASKED_VERB=preview ;;
    down | dn) ASKED_VERB=destroy ;;
    esac
}

# note_option NAME [VALUE]
note_option() {
    ASKED_OPTIONS+="$1 "
    case $1 in -s | --stack) ASKED_STACK=$2 ;; esac
}
