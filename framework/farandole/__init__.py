"""Event-driven pipelines on Kafka: chains of agents, exactly once, without a conductor in the way."""
