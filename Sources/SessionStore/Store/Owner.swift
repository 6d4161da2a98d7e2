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

/// On whose behalf a call is made. What is bound to another is answered exactly as what is missing.
package struct Owner: Hashable, Sendable {
  package var tenant: OwnerClaim
  package var principal: OwnerClaim

  package init(tenant: OwnerClaim, principal: OwnerClaim) {
    self.tenant = tenant
    self.principal = principal
  }

  /// the server itself, which sees everything
  package static let server = Owner(tenant: .unspecified, principal: .unspecified)

  package func admits(tenant owner: String?, principal other: String?) -> Bool {
    tenant.admits(owner) && principal.admits(other)
  }
}

/// To whom something is bound; nil: to nobody.
package struct Owners: Equatable, Sendable {
  package let tenantID: String?
  package let principal: String?
}
