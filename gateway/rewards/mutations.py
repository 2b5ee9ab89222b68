"""What members, brands and operators change in rewards."""

import strawberry

from alliance.rewards.v1 import rewards_pb2 as pb
from gateway.access import INHERITED
from gateway.engine.declare import federated, given, request_input, value
from gateway.mutations import LIMIT, MISSING, POINTS, REFUSED, REQUEST_ID, mutation
from gateway.rewards.sources import REWARDS
from gateway.rewards.types import Earning, Gift, Redemption, Reward, Settlement
from gateway.scalars import DateTime, Long, Points


@request_input(pb.CancelEarningRequest, "Which points to take back.")
class CancelEarningInput:
    request_id: str = given(REQUEST_ID)
    claim_id: strawberry.ID = given("The claim that they were for.")


@federated(pb.CancelEarningResponse, "The points are taken back.", rule=INHERITED)
class CancelEarningPayload:
    earning: Earning | None = value("The earning, as it is now.")
    returned_points: Points = value("Points that went back to the partner's block.")
    shortfall_points: Points = value("Points that were spent already; the member's next points repay them first.")


@request_input(pb.CreateRewardRequest, "Something to be had for points.")
class CreateRewardInput:
    request_id: str = given(REQUEST_ID)
    title: str = given("2 to 80 characters.")
    description: str = given("Up to 500 characters.", default="")
    points: Points = given("What it costs, 1 to 1,000,000,000.")
    stock: Long = given("How many there are, 0 to 1,000,000,000.")


@federated(pb.CreateRewardResponse, "The reward is in the catalogue.", rule=INHERITED)
class CreateRewardPayload:
    reward: Reward | None = value("The reward.")


@request_input(pb.RedeemRequest, "Which reward to redeem.")
class RedeemInput:
    request_id: str = given(REQUEST_ID)
    reward_id: strawberry.ID = given("The reward.")


@federated(pb.RedeemResponse, "The reward is reserved, its points are held.", rule=INHERITED)
class RedeemPayload:
    redemption: Redemption | None = value("The redemption, with the voucher code.")


@request_input(pb.CaptureRedemptionRequest, "A voucher at the till.")
class CaptureRedemptionInput:
    request_id: str = given(REQUEST_ID)
    voucher_code: str = given("The code that the member shows.")
    points: Points = given("How many of the held points to take; 0 takes all.", default=0)


@federated(pb.CaptureRedemptionResponse, "The voucher is taken in, its points are spent.", rule=INHERITED)
class CaptureRedemptionPayload:
    redemption: Redemption | None = value("The redemption, as it is now.")


@request_input(pb.VoidRedemptionRequest, "Which redemption to give up.")
class VoidRedemptionInput:
    request_id: str = given(REQUEST_ID)
    redemption_id: strawberry.ID = given("The redemption.")


@federated(pb.VoidRedemptionResponse, "The redemption is given up, its points are free again.", rule=INHERITED)
class VoidRedemptionPayload:
    redemption: Redemption | None = value("The redemption, as it is now.")


@request_input(pb.ReverseRedemptionRequest, "Which spend to take back.")
class ReverseRedemptionInput:
    request_id: str = given(REQUEST_ID)
    redemption_id: strawberry.ID = given("The redemption.")
    points: Points = given("How many of the spent points to give back; 0 gives all.", default=0)
    restock: bool = given("Whether the reward is back in stock.", default=False)


@federated(pb.ReverseRedemptionResponse, "The points are the member's again.", rule=INHERITED)
class ReverseRedemptionPayload:
    redemption: Redemption | None = value("The redemption, as it is now.")


@request_input(pb.CreateGiftCodeRequest, "A wish for a code to be given points by.")
class CreateGiftCodeInput:
    request_id: str = given(REQUEST_ID)


@federated(pb.CreateGiftCodeResponse, "A code that the member shows to whoever gives them points.", rule=INHERITED)
class CreateGiftCodePayload:
    code: str | None = value("The code; null when the request is sent again: make a new one.")
    expires_at: DateTime | None = value("Until when it is good.")


@request_input(pb.GiftPointsRequest, "Points for another member.")
class GiftPointsInput:
    request_id: str = given(REQUEST_ID)
    code: str = given("The code that the receiver shows, however it is typed.")
    points: Points = given("How many, at least 1.")


@federated(pb.GiftPointsResponse, "The points are the other member's.", rule=INHERITED)
class GiftPointsPayload:
    gift: Gift | None = value("The gift.")


@request_input(pb.RunSettlementRequest, "A wish to settle up to now.")
class RunSettlementInput:
    request_id: str = given(REQUEST_ID)


@federated(pb.RunSettlementResponse, "The period up to now is settled.", rule=INHERITED)
class RunSettlementPayload:
    settlement: Settlement | None = value("The settlement.")


@strawberry.type
class RewardsMutation:
    """Mutations of rewards."""

    cancel_earning = mutation(
        REWARDS,
        "CancelEarning",
        CancelEarningInput,
        CancelEarningPayload,
        MISSING,
        REFUSED,
        description="Takes back the points of a claim, for example because a purchase was returned. "
        "For operators and partners.",
    )
    create_reward = mutation(
        REWARDS,
        "CreateReward",
        CreateRewardInput,
        CreateRewardPayload,
        REFUSED,
        description="Offers a reward for points. For partners.",
    )
    redeem = mutation(
        REWARDS,
        "Redeem",
        RedeemInput,
        RedeemPayload,
        MISSING,
        REFUSED,
        POINTS,
        description="Reserves a reward: holds its points and gives a voucher for the partner's till. For members.",
    )
    capture_redemption = mutation(
        REWARDS,
        "CaptureRedemption",
        CaptureRedemptionInput,
        CaptureRedemptionPayload,
        MISSING,
        REFUSED,
        description="Takes a voucher in at the till: the held points, or a part of them, are spent. For partners.",
    )
    void_redemption = mutation(
        REWARDS,
        "VoidRedemption",
        VoidRedemptionInput,
        VoidRedemptionPayload,
        MISSING,
        REFUSED,
        description="Gives a redemption up: the held points are free again. For its member and its partner.",
    )
    reverse_redemption = mutation(
        REWARDS,
        "ReverseRedemption",
        ReverseRedemptionInput,
        ReverseRedemptionPayload,
        MISSING,
        REFUSED,
        description="Takes a spend back, once: its points, or a part of them, are the member's again, with issuer, "
        "value and expiry as they were. For the partner where they were spent.",
    )
    create_gift_code = mutation(
        REWARDS,
        "CreateGiftCode",
        CreateGiftCodeInput,
        CreateGiftCodePayload,
        description="Makes a code that the member shows to whoever wants to give them points; it ends the one before. "
        "For members.",
    )
    gift_points = mutation(
        REWARDS,
        "GiftPoints",
        GiftPointsInput,
        GiftPointsPayload,
        MISSING,
        REFUSED,
        POINTS,
        LIMIT,
        description="Gives points to the member who shows the code; they keep issuer, value and expiry. For members.",
    )
    run_settlement = mutation(
        REWARDS,
        "RunSettlement",
        RunSettlementInput,
        RunSettlementPayload,
        description="Closes the period up to now and nets what the partners owe each other. For operators.",
    )
