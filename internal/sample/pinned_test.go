package sample

// pinned is the sum of what TestPinned makes.
const pinned = "1f98bdb9901f5e1a8fa9f8c09c730937b21074b222b7e745e7b62c6953c4b45a"
