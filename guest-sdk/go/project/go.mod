module {{name}}

go 1.24

require cofferdam v0.0.0

// The SDK that this project came with; nothing is fetched from anywhere.
replace cofferdam => ./cofferdam
