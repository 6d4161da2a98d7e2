/// The scripts that complete command lines in a shell, made from the table of commands.
enum Completions {
  static let shells = ["bash", "zsh", "fish"]

  static func script(_ shell: String) -> String {
    switch shell {
    case "zsh": zsh
    case "fish": fish
    default: bash
    }
  }

  private static let always = ["--help", "--version"]

  private static func takesFile(_ option: Option) -> Bool { ["PATH", "FILE"].contains(option.placeholder) }

  private static func hasValue(_ option: Option) -> Bool {
    if case .flag = option.value { false } else { true }
  }

  // MARK: - bash

  private static var bash: String {
    let commands = Command.all
    let valued = Set(commands.flatMap(\.options).filter(hasValue).map(\.name)).sorted()
    return """
      # bash completion for mcp-session-store: source it, or put it into a directory of bash-completion.
      _mcp_session_store() {
        local word=${COMP_WORDS[COMP_CWORD]} command='' option='' count=0 index words=''
        local valued=' \(valued.joined(separator: " ")) '
        COMPREPLY=()
        for ((index = 1; index < COMP_CWORD; index++)); do
          # bash takes --option=value apart into three words.
          if [[ -n $option ]]; then
            [[ ${COMP_WORDS[index]} == '=' ]] || option=''
          elif [[ ${COMP_WORDS[index]} == -* ]]; then
            [[ $valued == *" ${COMP_WORDS[index]} "* ]] && option=${COMP_WORDS[index]}
          elif [[ -z $command ]]; then
            command=${COMP_WORDS[index]}
          else
            ((count++))
          fi
        done
        [[ $word == '=' ]] && word=''
        if [[ -n $option ]]; then
          case "${command:-serve} $option" in
      \(bashValues(commands))
          esac
        elif [[ $word == -* ]]; then
          case ${command:-serve} in
      \(bashOptions(commands))
          esac
        elif [[ -z $command ]]; then
          words='\(commands.map(\.name).joined(separator: " "))'
        else
          case "$command $count" in
      \(bashOperands(commands))
          esac
        fi
        if [[ $words == '<file>' ]]; then
          compopt -o filenames 2>/dev/null
          mapfile -t COMPREPLY < <(compgen -f -- "$word")
        else
          mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        fi
      }
      complete -F _mcp_session_store mcp-session-store

      """
  }

  private static func bashCase(_ pattern: String, _ words: String) -> String {
    "      '\(pattern)') words='\(words)' ;;"
  }

  private static func bashValues(_ commands: [Command]) -> String {
    commands.flatMap { command in
      command.options.compactMap { option in
        if case .choice(let names, _) = option.value {
          return bashCase("\(command.name) \(option.name)", names.joined(separator: " "))
        }
        return takesFile(option) ? bashCase("\(command.name) \(option.name)", "<file>") : nil
      }
    }.joined(separator: "\n")
  }

  private static func bashOptions(_ commands: [Command]) -> String {
    commands.map { bashCase($0.name, ($0.options.map(\.name) + always).joined(separator: " ")) }
      .joined(separator: "\n")
  }

  private static func bashOperands(_ commands: [Command]) -> String {
    commands.flatMap { command in
      command.operands.enumerated().compactMap { index, operand in
        switch operand.kind {
        case .text: nil
        case .file: bashCase("\(command.name) \(index)", "<file>")
        case .command: bashCase("\(command.name) \(index)", commands.map(\.name).joined(separator: " "))
        case .choice(let names): bashCase("\(command.name) \(index)", names.joined(separator: " "))
        }
      }
    }.joined(separator: "\n")
  }

  // MARK: - zsh

  private static var zsh: String {
    let commands = Command.all
    return """
      #compdef mcp-session-store
      # zsh completion for mcp-session-store: source it after compinit, or put it as _mcp-session-store into a directory
      # of $fpath.
      _mcp-session-store() {
        local curcontext="$curcontext" state line
        typeset -A opt_args
        _arguments -C \\
          '(- *)'{-h,--help}'[help]' '(- *)'{-V,--version}'[one line with the version]' \\
      \((commands.first.map(zshOptions) ?? []).joined(separator: "\n"))
          '1:command:->command' '*:: :->operands'
        case $state in
        command)
          local -a commands=(
      \(commands.map { "      \(quoted("\($0.name):\($0.summary)"))" }.joined(separator: "\n"))
          )
          _describe command commands
          ;;
        operands)
          case $words[1] in
      \(commands.map { zshCommand($0, commands) }.joined(separator: "\n"))
          esac
          ;;
        esac
      }
      if [ "$funcstack[1]" = _mcp-session-store ]; then
        _mcp-session-store "$@"
      else
        compdef _mcp-session-store mcp-session-store
      fi

      """
  }

  private static func zshCommand(_ command: Command, _ commands: [Command]) -> String {
    let operands = command.operands.enumerated().map { index, operand in
      let action =
        switch operand.kind {
        case .text: ""
        case .file: "_files"
        case .command: "(\(commands.map(\.name).joined(separator: " ")))"
        case .choice(let names): "(\(names.joined(separator: " ")))"
        }
      return "      " + quoted("\(index + 1):\(operand.name):\(action)") + " \\"
    }
    let lines = ["    \(command.name))", "      _arguments \\"] + operands + zshOptions(command)
    return (lines + ["      '(- *)'--help'[help]' ;;"]).joined(separator: "\n")
  }

  private static func zshOptions(_ command: Command) -> [String] {
    command.options.map { option in
      var action = ""
      if hasValue(option) {
        if case .choice(let names, _) = option.value {
          action = "=:\(option.placeholder):(\(names.joined(separator: " ")))"
        } else {
          action = "=:\(option.placeholder):\(takesFile(option) ? "_files" : "")"
        }
      }
      // The text stands between brackets, behind the = of an option that has a value.
      let text = "[" + option.summary.map { "[]".contains($0) ? "\\\($0)" : String($0) }.joined() + "]"
      return "      " + quoted(option.name + (action.isEmpty ? text : "=" + text + action.dropFirst())) + " \\"
    }
  }

  // MARK: - fish

  private static var fish: String {
    let commands = Command.all
    let valued = Set(commands.flatMap(\.options).filter(hasValue).map(\.name)).sorted()
    return """
      # fish completion for mcp-session-store: source it, or put it as mcp-session-store.fish into
      # ~/.config/fish/completions.

      # Whether $argv[1] is the command of the line ('none': it has none yet), and $argv[2] operands stand behind it.
      function __mcp_session_store_is
        set -l valued \(valued.joined(separator: " "))
        set -l words (commandline -opc)
        set -e words[1]
        set -l command none
        set -l count 0
        set -l option ''
        for word in $words
          if test -n "$option"
            set option ''
          else if string match -q -- '-*' $word
            contains -- $word $valued; and set option $word
          else if test $command = none
            set command $word
          else
            set count (math $count + 1)
          end
        end
        # Without a command serve is meant.
        contains -- $command $argv[1]; or test $command$argv[1] = noneserve; or return 1
        test (count $argv) -lt 2; or test $count = $argv[2]
      end

      complete -c mcp-session-store -f
      complete -c mcp-session-store -s h -l help -d help
      complete -c mcp-session-store -s V -l version -d 'one line with the version'
      \(commands.flatMap { fishCommand($0, commands) }.joined(separator: "\n"))

      """
  }

  private static func fishCommand(_ command: Command, _ commands: [Command]) -> [String] {
    func line(_ condition: String, _ rest: String) -> String {
      "complete -c mcp-session-store -n '__mcp_session_store_is \(condition)' \(rest)"
    }
    var lines = [line("none", "-a \(command.name) -d \(fishQuoted(command.summary))")]
    for option in command.options {
      var text = "-l \(option.name.dropFirst(2)) -d \(fishQuoted(option.summary))"
      if case .choice(let names, _) = option.value {
        text += " -x -a \(fishQuoted(names.joined(separator: " ")))"
      } else if hasValue(option) {
        text += takesFile(option) ? " -r -F" : " -x"
      }
      lines.append(line(command.name, text))
    }
    for (index, operand) in command.operands.enumerated() {
      switch operand.kind {
      case .text: break
      case .file: lines.append(line("\(command.name) \(index)", "-F"))
      case .command:
        lines.append(line("\(command.name) \(index)", "-a \(fishQuoted(commands.map(\.name).joined(separator: " ")))"))
      case .choice(let names):
        lines.append(line("\(command.name) \(index)", "-a \(fishQuoted(names.joined(separator: " ")))"))
      }
    }
    return lines
  }

  private static func fishQuoted(_ text: String) -> String {
    "'" + text.map { "\\'".contains($0) ? "\\\($0)" : String($0) }.joined() + "'"
  }

  private static func quoted(_ text: String) -> String {
    "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
  }
}
