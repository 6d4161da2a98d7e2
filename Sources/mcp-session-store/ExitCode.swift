/// How the process ends; scripts rely on these (sysexits.h).
enum ExitCode: Int32 {
  case success = 0
  /// the command line is wrong
  case usage = 64
  /// the file is not ours, is newer than this program, or is damaged
  case data = 65
  /// a defect of this program
  case defect = 70
  /// the file cannot be created or opened for writing
  case cannotCreate = 73
  /// the disk or the reader of our output failed
  case inputOutput = 74
  /// another process holds the file
  case locked = 75
  /// the options contradict each other or the surroundings
  case configuration = 78
}

/// Why the process ends before it has served.
struct Failure: Error {
  let code: ExitCode
  let message: String
}
