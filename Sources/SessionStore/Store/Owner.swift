import JSON

/// What a call says about one owner (a tenant or a principal).
package enum OwnerClaim: Hashable, Sendable {
  /// nothing: the server itself speaks and sees everything
  case unspecified
  /// an explicit null: the anonymous caller, who sees only what is bound to nobody
  case anonymous
  case named(String)

  /// Whether what is bound to `owner` (nil: to nobody) answers to this claim.
  package func admits(_ owner: String?) -> Bool {
    guard let owner else { return true }
    return switch self {
    case .unspecified: true
    case .anonymous: false
    case .named(let name): name.isSame(as: owner)
    }
  }

  /// the owner to bind a new thing to
  package var binding: String? {
    if case .named(let name) = self { name } else { nil }
  }
}

/// On whose behalf a call is made, and how far back it looks. What is bound to another is answered exactly as what is
/// missing.
package struct Owner: Hashable, Sendable {
  package var tenant: OwnerClaim
  package var principal: OwnerClaim
  /// whether the call asks for sessions that have ended and are kept, too
  package var seesEnded = false

  package init(tenant: OwnerClaim, principal: OwnerClaim, seesEnded: Bool = false) {
    self.tenant = tenant
    self.principal = principal
    self.seesEnded = seesEnded
  }

  /// the server itself, which sees everything
  package static let server = Owner(tenant: .unspecified, principal: .unspecified)

  package func admits(tenant owner: String?, principal other: String?) -> Bool {
    tenant.admits(owner) && principal.admits(other)
  }
}

/// To whom something is bound; nil: to nobody.
package struct Owners: Hashable, Sendable {
  package let tenantID: String?
  package let principal: String?

  package static let none = Owners(tenantID: nil, principal: nil)
}
