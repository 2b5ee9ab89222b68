"""Every GraphQL document that the day sends, in the order of the day."""

_PROBLEM = "... on Problem { reason message details { name value } }"


def _mutation(name: str, payload: str) -> str:
    """A mutation of one input, whose expected failures are members of its result union."""
    capital = name[0].upper() + name[1:]
    return (
        f"mutation {capital}($input: {capital}Input!) {{ {name}(input: $input) {{ __typename "
        f"... on {capital}Payload {{ {payload} }} {_PROBLEM} }} }}"
    )


# Brands join.
APPLY_PARTNER = _mutation("applyPartner", "partner { id }")
SET_PARTNER_STATUS = _mutation("setPartnerStatus", "partner { id status }")
CREATE_API_CLIENT = _mutation("createApiClient", "client { id } secret")
REVOKE_API_CLIENT = _mutation("revokeApiClient", "client { id }")
OFFER_AGREEMENT = _mutation("offerAgreement", "agreement { id }")
ACCEPT_AGREEMENT = _mutation("acceptAgreement", "agreement { id acceptedAt }")
ORDER_PREPAID_BLOCK = _mutation("orderPrepaidBlock", "block { id price { currency micros } }")
CONFIRM_PREPAID_BLOCK = _mutation("confirmPrepaidBlock", "block { id } allotted")
CREATE_EARN_RULE = _mutation("createEarnRule", "rule { id version }")
CREATE_CAMPAIGN = _mutation("createCampaign", "campaign { id }")
CREATE_REWARD = _mutation("createReward", "reward { id }")
CREATE_RECYCLING_POINT = _mutation("createRecyclingPoint", "recyclingPoint { id }")
REGISTER_MACHINE = _mutation("registerMachine", "machine { id }")

# Members join.
ENROL_MEMBER = _mutation("enrolMember", "member { id }")
CREATE_LINK_CODE = _mutation("createLinkCode", "code expiresAt")
LINK_IDENTITY = _mutation("linkIdentity", "identity { customerNumber }")
SET_CONSENT = _mutation("setConsent", "consent { granted }")

# Acts, and whether everything that they cause has happened.
REPORT_ACTS = _mutation("reportActs", "acts { id status reason newCo2eMg }")
PROGRESS = """
query Progress {
  report {
    acts { kinds { kind acts } claims }
    dropOffs { accepted }
    earnings { kinds { earnings } refusals { earnings } }
  }
}
"""

# What people see.
LOOK = """
query Look($id: ID!) {
  member(id: $id) {
    displayName
    identities { partner { name } }
    wallet { balance available pointsExpiringNext lots { issuer { name } points } }
    carbon { claims co2eMg }
    acts(first: 5) {
      edges {
        node {
          kind
          quantity
          status
          partner { name }
          claim { co2eMg factor { id source } earning { points } }
        }
      }
    }
    dropOffs(first: 5) { edges { node { weightGrams recyclingPoint { name } } } }
  }
}
"""
WALLET = "query Wallet($id: ID!) { member(id: $id) { id wallet { balance } } }"

# Spending and settling.
REDEEM = _mutation("redeem", "redemption { id status points voucherCode }")
CAPTURE_REDEMPTION = _mutation(
    "captureRedemption", "redemption { id status points lots { issuer { id } points unitValue { micros } } }"
)
VOID_REDEMPTION = _mutation("voidRedemption", "redemption { id status }")
RUN_SETTLEMENT = _mutation(
    "runSettlement",
    "settlement { id number lineCount linesHash "
    "positions { partner { id } receivable { micros } payable { micros } net { currency micros } due { micros } } }",
)

# The report.
REPORT = """
query Report {
  report {
    acts {
      kinds { kind acts claims co2eMg }
      refusals { reason acts }
      partners { partner { id name } claims co2eMg }
      claims
      co2eMg
    }
    dropOffs { accepted duplicates invalid batchesRefused }
    earnings { kinds { kind earnings points } refusals { reason earnings } }
    partners {
      partner { id name }
      allotted
      allotmentLeft
      issued
      cancelled
      spent
      expired
      outstanding
      liability { currency micros }
      accepted
    }
    ledger { clean finding entries members }
  }
}
"""
