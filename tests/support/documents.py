"""What tests ask beyond the documents of the day."""

MEMBER = """
query Member($id: ID!) {
  member(id: $id) {
    id
    displayName
    enrolledBy { id name }
    identities { partner { id } customerNumber }
    consents { partner { id } granted }
    wallet { balance held available lots { issuer { id } points unitValue { currency micros } expiresAt } }
    carbon { claims co2eMg }
    acts(first: 50) { edges { node { id kind status reason newCo2eMg
      claim { id co2eMg factor { id avoidedUgPerUnit } earning { status points reason } } } } }
    redemptions(first: 50) { edges { node { id status points } } }
    entries(first: 50) { edges { node { kind points lots { issuer { id } points } } } }
  }
}
"""
WALLET = """
query Wallet($id: ID!) {
  member(id: $id) {
    wallet {
      balance held available shortfall pending
      lots { issuer { id } points unitValue { currency micros } expiresAt }
      pendingEarnings { claim { id } points availableAt lots { issuer { id } points } }
    }
  }
}
"""
EARNING = "query Earning($id: ID!) { claim(id: $id) { id co2eMg earning { status points reason lots { points } } } }"
PARTNER_POINTS = """
query PartnerPoints($id: ID!) {
  partner(id: $id) {
    points { allotted allotmentLeft issued cancelled spent expired outstanding accepted liability { currency micros } }
  }
}
"""
CANCEL_EARNING = """
mutation CancelEarning($input: CancelEarningInput!) {
  cancelEarning(input: $input) {
    __typename
    ... on CancelEarningPayload { earning { status points } returnedPoints shortfallPoints }
    ... on Problem { reason message }
  }
}
"""
REVERSE_REDEMPTION = """
mutation ReverseRedemption($input: ReverseRedemptionInput!) {
  reverseRedemption(input: $input) {
    __typename
    ... on ReverseRedemptionPayload {
      redemption { id status points reversedPoints reversedAt lots { issuer { id } points }
        reversedLots { issuer { id } points expiresAt } }
    }
    ... on Problem { reason message details { name value } }
  }
}
"""
CREATE_GIFT_CODE = """
mutation CreateGiftCode($input: CreateGiftCodeInput!) {
  createGiftCode(input: $input) {
    __typename
    ... on CreateGiftCodePayload { code expiresAt }
    ... on Problem { reason message }
  }
}
"""
GIFT_POINTS = """
mutation GiftPoints($input: GiftPointsInput!) {
  giftPoints(input: $input) {
    __typename
    ... on GiftPointsPayload { gift { id points givenAt lots { issuer { id } points expiresAt } } }
    ... on Problem { reason message details { name value } }
  }
}
"""
