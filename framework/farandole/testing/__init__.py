"""What tests are made of, ours and our users': brokers, harness, conformance, history checker."""
