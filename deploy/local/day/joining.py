"""Morning: brands and members join, places open."""

import asyncio
import base64
from typing import Any

from deploy.local.day import documents
from deploy.local.day.cast import BrandRole, Place
from deploy.local.day.doors import PATIENCE_SECONDS, Person, Refused, backend
from deploy.local.day.keepsakes import public_bytes
from deploy.local.day.plan import Agreement, Campaign, Member, Reward, Rule
from deploy.local.day.stage import Stage, iso

_ATTEMPTS = 4
_POLL_SECONDS = 0.2


class BrandsJoin:
    """Step 1: an operator approves brands; each gets credentials, agrees on a price, pays ahead and sets its rules."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def play(self) -> None:
        stage, plan = self._stage, self._stage.plan
        await stage.each("brands join", plan.brands, self._join)
        await stage.each("agreements and prepaid blocks", plan.agreements, self._agree)
        # In order by brand, so that versions count up as the plan says.
        await stage.each("earn rules", plan.brands, self._set_rules)
        await stage.each("campaigns", plan.campaigns, self._start_campaign)
        await stage.each("rewards", plan.rewards, self._offer_reward)

    async def _join(self, brand: BrandRole) -> None:
        stage = self._stage
        # Anybody may apply.
        applied = await stage.mutate(
            None, documents.APPLY_PARTNER, brand.key, name=brand.name, trade=brand.trade, country="NL"
        )
        partner_id = stage.partner_ids[brand.key] = applied["partner"]["id"]
        await stage.mutate(
            stage.operator, documents.SET_PARTNER_STATUS, brand.key, partnerId=partner_id, status="APPROVED"
        )
        stage.brands[brand.key] = await self._credentials(brand, partner_id)

    async def _credentials(self, brand: BrandRole, partner_id: str) -> Person:
        """The secret is shown once. If the answer got lost on its way, that client is ended and another made."""
        stage = self._stage
        if kept := stage.keepsakes.get(f"client/{brand.key}"):
            return backend(brand.key, *kept.split(":"))
        for attempt in range(_ATTEMPTS):
            what = (brand.key, str(attempt))
            made = await stage.mutate(
                stage.operator,
                documents.CREATE_API_CLIENT,
                *what,
                partnerId=partner_id,
                label=f"{brand.name} backend",
            )
            client_id = made["client"]["id"]
            if made["secret"]:
                stage.keepsakes.keep(f"client/{brand.key}", f"{client_id}:{made['secret']}")
                return backend(brand.key, client_id, made["secret"])
            await stage.mutate(stage.operator, documents.REVOKE_API_CLIENT, *what, clientId=client_id)
        raise RuntimeError(f"{brand.name} got no credentials in {_ATTEMPTS} attempts")

    async def _agree(self, agreement: Agreement) -> None:
        stage, key = self._stage, agreement.brand
        offered = await stage.mutate(
            stage.operator,
            documents.OFFER_AGREEMENT,
            key,
            partnerId=stage.partner_ids[key],
            unitValue={"currency": "EUR", "micros": agreement.unit_value_micros},
            validFrom=iso(agreement.valid_from),
        )
        await stage.mutate(stage.brands[key], documents.ACCEPT_AGREEMENT, key, agreementId=offered["agreement"]["id"])
        ordered = await stage.mutate(
            stage.brands[key], documents.ORDER_PREPAID_BLOCK, key, points=agreement.block_points
        )
        await self._pay(key, ordered["block"]["id"])

    async def _pay(self, key: str, block_id: str) -> None:
        """Until the ledger has the block: points issued before that would be refused."""
        for _ in range(int(PATIENCE_SECONDS / _POLL_SECONDS)):
            paid = await self._stage.mutate(
                self._stage.operator, documents.CONFIRM_PREPAID_BLOCK, key, blockId=block_id
            )
            if paid["allotted"]:
                return
            await asyncio.sleep(_POLL_SECONDS)
        raise RuntimeError(f"the ledger did not get the block of {key}")

    async def _set_rules(self, brand: BrandRole) -> None:
        for rule in self._stage.plan.rules:
            if rule.brand == brand.key:
                await self._set_rule(rule)

    async def _set_rule(self, rule: Rule) -> None:
        await self._stage.mutate(
            self._stage.brands[rule.brand],
            documents.CREATE_EARN_RULE,
            rule.key,
            kind=rule.kind,
            points=rule.points,
            perQuantity=rule.per_quantity,
            validFrom=iso(rule.valid_from),
            pointsValidMonths=rule.valid_months,
        )

    async def _start_campaign(self, campaign: Campaign) -> None:
        await self._stage.mutate(
            self._stage.brands[campaign.brand],
            documents.CREATE_CAMPAIGN,
            campaign.key,
            name=campaign.name,
            kind=campaign.kind,
            extraPercent=campaign.extra_percent,
            validFrom=iso(campaign.valid_from),
            validUntil=iso(campaign.valid_until),
            budgetPoints=campaign.budget_points,
            memberCapPoints=campaign.member_cap_points,
            pointsExpireAt=iso(campaign.points_expire_at),
        )

    async def _offer_reward(self, reward: Reward) -> None:
        made = await self._stage.mutate(
            self._stage.brands[reward.brand],
            documents.CREATE_REWARD,
            reward.key,
            title=reward.title,
            description="",
            points=reward.points,
            stock=reward.stock,
        )
        self._stage.reward_ids[reward.key] = made["reward"]["id"]


async def open_places(stage: Stage) -> None:
    """Recycling points open, and each gets a machine with a key of its own."""

    async def open_place(place: Place) -> None:
        brand = stage.brands[place.brand]
        opened = await stage.mutate(
            brand,
            documents.CREATE_RECYCLING_POINT,
            place.key,
            name=place.name,
            location={"latitude": place.latitude, "longitude": place.longitude},
            address=place.address,
            materials=list(place.materials),
        )
        public = public_bytes(stage.keepsakes.machine_key(place.key))
        registered = await stage.mutate(
            brand,
            documents.REGISTER_MACHINE,
            place.key,
            recyclingPointId=opened["recyclingPoint"]["id"],
            publicKey=base64.b64encode(public).decode(),
        )
        stage.machine_ids[place.key] = registered["machine"]["id"]

    await stage.each("recycling points and machines", stage.plan.places, open_place)


class MembersJoin:
    """Step 2: brands enrol members, members link further brands by code, and say who may see them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def play(self) -> None:
        stage, members = self._stage, self._stage.plan.members
        await stage.each("members enrol", members, self._enrol)
        await stage.each("members sign in", members, self._sign_in)
        links = [(member, *number) for member in members for number in member.numbers[1:]]
        await stage.each("further brands linked", links, lambda link: self._link(*link))
        await stage.each("consents given and refused", members, self._consent)

    async def _enrol(self, member: Member) -> None:
        enrolled = await self._stage.mutate(
            self._stage.brands[member.home],
            documents.ENROL_MEMBER,
            member.key,
            displayName=member.name,
            customerNumber=member.number_at(member.home),
        )
        self._stage.member_ids[member.key] = enrolled["member"]["id"]

    async def _sign_in(self, member: Member) -> None:
        await self._stage.doors.token(self._stage.frontend(member))

    async def _link(self, member: Member, brand: str, number: str) -> None:
        """A code is shown once and works for ten minutes. One that got lost or too old is replaced."""
        stage = self._stage
        for attempt in range(_ATTEMPTS):
            what = (member.key, brand, str(attempt))
            code = stage.keepsakes.get(f"link/{'/'.join(what)}")
            if code is None:
                made = await stage.mutate(stage.frontend(member), documents.CREATE_LINK_CODE, *what)
                if not made["code"]:
                    continue
                code = stage.keepsakes.keep(f"link/{'/'.join(what)}", made["code"])
            try:
                await self._use(what, brand, code, number)
            except Refused as refusal:
                if refusal.reason != "LINK_CODE_UNKNOWN":
                    raise
            else:
                return
        raise RuntimeError(f"{member.name} could not be linked to {brand} in {_ATTEMPTS} attempts")

    async def _use(self, what: tuple[str, ...], brand: str, code: str, number: str) -> Any:
        person = self._stage.brands[brand]
        return await self._stage.mutate(person, documents.LINK_IDENTITY, *what, code=code, customerNumber=number)

    async def _consent(self, member: Member) -> None:
        stage = self._stage
        for turn, (brand, granted) in enumerate(member.consents):
            await stage.mutate(
                stage.frontend(member),
                documents.SET_CONSENT,
                member.key,
                str(turn),
                partnerId=stage.partner_ids[brand],
                granted=granted,
            )
