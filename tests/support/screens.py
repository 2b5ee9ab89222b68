"""What the screens of frontends ask for: a brand's app, its back office, the operators' console, a till."""

MEMBER_HOME = """query MemberHome { viewer { partner { id name logoUrl } member {
  id displayName
  wallet { id available held pending shortfall nextExpiryAt pointsExpiringNext
    lots { lotId points expiresAt unitValue { currency micros } issuer { id name } }
    pendingEarnings { points availableAt claim { id kind } } }
  carbon { claims co2eMg }
  vouchers: redemptions(first: 10, status: HELD) { nodes {
    id voucherCode points expiresAt reward { id title } partner { id name } } }
} } }"""

MEMBER_HISTORY = """query MemberHistory($first: Int! = 20, $after: String) { viewer { member { id
  entries(first: $first, after: $after) {
    edges { cursor node { id kind points at partner { id name } why { sentence } gift { id }
      claim { id kind quantity co2eMg } redemption { id reward { id title } } } }
    pageInfo { hasNextPage endCursor } }
} } }"""

MEMBER_PRIVACY = """query MemberPrivacy { viewer { member { id
  identities { customerNumber linkedAt partner { id name } }
  consents { granted changedAt partner { id name } } } }
  partners(first: 100, status: APPROVED) { nodes { id name trade country logoUrl } } }"""

CATALOGUE = """query Catalogue($partner: ID, $after: String) {
  rewards(first: 20, after: $after, partnerId: $partner) {
    edges { cursor node { id title description points stock partner { id name logoUrl } } }
    pageInfo { hasNextPage endCursor } } }"""

MAP = """query Map($after: String) { recyclingPoints(first: 100, after: $after) {
  nodes { id name address location { latitude longitude } materials partner { id name } }
  pageInfo { hasNextPage endCursor } } }"""

REFETCH = """query Refetch($id: ID!) { node(id: $id) { __typename id
  ... on Wallet { available held } ... on Redemption { status resolvedAt } ... on Reward { stock points }
  ... on Partner { name life: status } ... on Earning { outcome: status points reason } } }"""

OFFICE_HOME = """query OfficeHome { viewer { partner { id name status statusChangedAt
  points { id allotted allotmentLeft issued outstanding spent expired accepted liability { currency micros } }
  agreements { id unitValue { currency micros } validFrom offeredAt acceptedAt }
  prepaidBlocks { id points price { currency micros } orderedAt paidAt }
  earnRules { id kind version points perQuantity validFrom pointsValidMonths returnWindowDays }
  campaigns { id name kind extraPercent validFrom validUntil budgetPoints grantedPoints memberCapPoints }
  apiClients { id label createdAt revoked } } } }"""

OFFICE_MEMBERS = """query OfficeMembers($after: String) { viewer { partner { id members(first: 50, after: $after) {
  nodes { id displayName enrolledAt identities { customerNumber } wallet { id available } carbon { co2eMg } }
  pageInfo { hasNextPage endCursor } } } } }"""

OFFICE_ACTS = """query OfficeActs($status: ActStatus, $since: DateTime, $until: DateTime, $after: String) {
  viewer { partner { id
    acts(first: 50, after: $after, status: $status, since: $since, until: $until) {
      nodes { id kind quantity occurredAt recordedAt reference status reason message newCo2eMg claim { id } }
      pageInfo { hasNextPage endCursor } }
    claims(first: 50, since: $since, until: $until) {
      nodes { id kind co2eMg occurredAt factor { id } earning { id status points reason } }
      pageInfo { hasNextPage endCursor } } } } }"""

OFFICE_MACHINES = """query OfficeMachines($machine: ID, $since: DateTime, $until: DateTime, $after: String) {
  viewer { partner { id dropOffs(first: 50, after: $after, machineId: $machine, since: $since, until: $until) {
    nodes { id material weightGrams code occurredAt recordedAt machine { id retired } recyclingPoint { id name } }
    pageInfo { hasNextPage endCursor } } } } }"""

OFFICE_SHOP = """query OfficeShop($status: RedemptionStatus, $since: DateTime, $until: DateTime, $after: String) {
  viewer { partner { id redemptions(first: 50, after: $after, status: $status, since: $since, until: $until) {
    nodes { id status points createdAt expiresAt resolvedAt reversedPoints reward { id title stock }
      lots { points unitValue { currency micros } issuer { id name } } why { sentence } }
    pageInfo { hasNextPage endCursor } } } } }"""

OFFICE_SETTLEMENTS = """query OfficeSettlements($after: String) { settlements(first: 10, after: $after) {
  nodes { id number from until lineCount linesHash
    positions { partner { id name } receivable { micros } payable { micros } net { micros } due { currency micros } }
    lines(first: 20) { nodes { id points amount { currency micros } spentAt reverses debtor { id } creditor { id }
      redemption { id status } claim { id } } pageInfo { hasNextPage endCursor } } }
  pageInfo { hasNextPage endCursor } } }"""

CONSOLE_HOME = """query ConsoleHome { report {
  acts { claims co2eMg kinds { kind acts claims co2eMg } refusals { reason acts } }
  dropOffs { accepted duplicates invalid batchesRefused }
  earnings { kinds { kind earnings points } refusals { reason earnings } }
  partners { id partner { id name } issued outstanding spent liability { currency micros } } } }"""

CONSOLE_APPLICATIONS = """query ConsoleApplications($status: PartnerStatus = APPLIED, $after: String) {
  partners(first: 50, after: $after, status: $status) {
    nodes { id name trade country status appliedAt statusChangedAt agreements { id acceptedAt }
      prepaidBlocks { id points paidAt } apiClients { id label } }
    pageInfo { hasNextPage endCursor } } }"""

CONSOLE_PARTNER = """query ConsolePartner($id: ID!, $since: DateTime) { partner(id: $id) { id name status
  points { id issued outstanding }
  members(first: 10) { nodes { id displayName } pageInfo { hasNextPage } }
  acts(first: 10, since: $since) { nodes { id kind status } }
  dropOffs(first: 10, since: $since) { nodes { id material member { id displayName } } }
  redemptions(first: 10, since: $since) { nodes { id status member { id } } } } }"""

TILL_LOOK = """query TillLook($code: String!) { redemptionByVoucherCode(voucherCode: $code) {
  id status points expiresAt resolvedAt reward { id title } } }"""
