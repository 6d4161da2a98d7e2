import Foundation
import Synchronization

/// Stands between a connection and the server, on a socket beside the server's, and does to what is sent next what it
/// was told.
final class Proxy: Sendable {
  enum Action: Sendable {
    case pass
    /// Nothing of it arrives, and both ends see the connection break.
    case cut
    /// It arrives, and then the connection breaks before an answer comes back.
    case cutBehind
    /// It arrives, and no answer ever comes back.
    case passAndHold
  }

  let port: Int
  private let listener: Int32
  private let path: String
  private let server: String
  private let action = Mutex(Action.pass)
  private let accepted = Atomic(0)
  private let isRefusing = Atomic(false)

  init(_ server: TestServer) throws {
    port = Int.random(in: 10_000...60_000)
    path = "\(server.folder)/.s.PGSQL.\(port)"
    self.server = "\(server.folder)/.s.PGSQL.\(TestServer.port)"
    listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let bound = Self.with(path) { bind(self.listener, $0, $1) }
    guard bound == 0, listen(listener, 16) == 0 else { throw TestServer.Failure(description: "no socket at \(path)") }
    let listener = listener
    Thread.detachNewThread { [weak self] in
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0, let self else { break }
        accepted.add(1, ordering: .relaxed)
        if isRefusing.load(ordering: .relaxed) {
          close(client)
        } else {
          Thread.detachNewThread { self.serve(client) }
        }
      }
    }
  }

  deinit {
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
    unlink(path)
  }

  /// how many connections were made
  var connections: Int { accepted.load(ordering: .relaxed) }

  /// What becomes of what a client sends next.
  func next(_ action: Action) { self.action.withLock { $0 = action } }

  private func takeAction() -> Action {
    action.withLock { action in
      defer { action = .pass }
      return action
    }
  }

  /// Takes no connections any more, or again.
  func refuse(_ refuses: Bool) { isRefusing.store(refuses, ordering: .relaxed) }

  private static func with(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { place in
      for (index, byte) in path.utf8.enumerated() { place[index] = byte }
    }
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  private func serve(_ client: Int32) {
    let other = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer {
      close(client)
      close(other)
    }
    guard Self.with(server, { connect(other, $0, $1) }) == 0 else { return }
    var isHeld = false
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      var ends = [client, other].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard poll(&ends, 2, -1) > 0 else { return }
      if ends[0].revents != 0 {
        let count = read(client, &buffer, buffer.count)
        guard count > 0 else { return }
        let action = takeAction()
        if action == .cut { return }
        guard write(other, buffer, count) == count else { return }
        if action == .cutBehind {
          // The server has it, and has done it, once it answers.
          _ = read(other, &buffer, buffer.count)
          return
        }
        if action == .passAndHold { isHeld = true }
      }
      if ends[1].revents != 0 {
        let count = read(other, &buffer, buffer.count)
        guard count > 0 else { return }
        if !isHeld, write(client, buffer, count) != count { return }
      }
    }
  }
}
