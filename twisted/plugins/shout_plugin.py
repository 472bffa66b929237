from twisted.application.service import ServiceMaker

shout = ServiceMaker(
    "shout",
    "shout.tap",
    "Answers every UDP datagram with its text in capitals.",
    "shout",
)
